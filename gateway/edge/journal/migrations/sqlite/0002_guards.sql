-- The audit only grows, but for what a signed cut lets go.
DROP TRIGGER audit_complete;
CREATE TRIGGER audit_complete BEFORE DELETE ON audit WHEN NOT EXISTS (
    SELECT 1 FROM cut WHERE cut.environment = OLD.environment AND cut.participant = OLD.participant
        AND cut.number >= OLD.number
) BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END;
