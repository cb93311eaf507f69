-- A site that asks for a page names the result only by its number.
CREATE INDEX relay_result ON relay (site, connection, result_seq) WHERE result_seq IS NOT NULL;
