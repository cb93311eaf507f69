-- Who decided, and why, that nobody needs to look at an unmatched callback any more. It is still matched if it can be.
ALTER TABLE callback ADD COLUMN dismissed TEXT;
