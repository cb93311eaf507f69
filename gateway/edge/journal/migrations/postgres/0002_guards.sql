-- The audit only grows, but for what a signed cut lets go.
CREATE OR REPLACE FUNCTION audit_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND EXISTS (
        SELECT 1 FROM cut WHERE cut.environment = OLD.environment AND cut.participant = OLD.participant
            AND cut.number >= OLD.number
    ) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit only grows';
END $$;
