-- What only PostgreSQL needs: `turn` counts the transactions of a gateway. Who lost its connection at COMMIT asks it
-- whether that one is on disk.
ALTER TABLE node ADD COLUMN turn BIGINT NOT NULL DEFAULT 0;
