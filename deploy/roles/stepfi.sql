-- The role with which chaintrue reaches StepFi's database: it reads the compared tables, may change the columns that the chain
-- owns, may add rows that are missing, and may do nothing else. Nothing is ever deleted by it, and no table is changed.
--
-- Run it as the owner of the tables (of Supabase: `postgres`, in the SQL editor or by psql), in the application's database.
-- It may be run again: after the application was migrated, or with another choice below. Then give the role its password:
--
--     ALTER ROLE chaintrue LOGIN PASSWORD '…';
--
-- Tables and columns that this application does not have are left out, and said. Where the owner may not grant BYPASSRLS, the
-- role gets policies of its own instead; a notice says so, and chaintrue has to be told: CHAINTRUE_SWEEP__ROW_SECURITY=policies.

DO $chaintrue$
DECLARE
    the_role   CONSTANT name := 'chaintrue';
    the_schema CONSTANT name := 'public';
    adds_rows  CONSTANT boolean := true;  -- false: rows that are missing are reported, and can never be added
    wish       record;
    found      text;
    missing    text;
    bypasses   boolean;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = the_role) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', the_role);
    END IF;
    BEGIN
        EXECUTE format('ALTER ROLE %I BYPASSRLS', the_role);
    EXCEPTION WHEN insufficient_privilege THEN
        NULL;  -- a host that forbids it; whoever may grant it can still do so, and run this again
    END;
    bypasses := (SELECT rolbypassrls OR rolsuper FROM pg_roles WHERE rolname = the_role);

    -- Whatever it had before, so that a right that is no longer needed goes.
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', the_schema, the_role);
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', the_schema, the_role);

    FOR wish IN
        SELECT * FROM (VALUES
            -- table, right, columns (NULL: the whole table)
            ('loans',               'SELECT', NULL),
            ('vendors',             'SELECT', NULL),
            ('transactions',        'SELECT', NULL),
            ('reputation_cache',    'SELECT', NULL),
            ('reputation_history',  'SELECT', NULL),
            ('liquidity_positions', 'SELECT', NULL),
            ('users',               'SELECT', 'id wallet_address'),

            ('loans',               'UPDATE', 'loan_id status remaining_balance completed_at defaulted_at vendor_id updated_at'),
            ('vendors',             'UPDATE', 'status updated_at'),
            ('transactions',        'UPDATE', 'status error completed_at updated_at'),
            ('reputation_cache',    'UPDATE', 'score tier last_synced_at updated_at'),
            ('liquidity_positions', 'UPDATE', 'deposited_amount updated_at'),

            ('loans',               'INSERT', 'loan_id user_wallet vendor_id amount loan_amount guarantee interest_rate '
                                              'total_repayment remaining_balance term status created_at updated_at '
                                              'completed_at defaulted_at'),
            ('reputation_cache',    'INSERT', 'user_id wallet_address score tier last_synced_at updated_at'),
            ('reputation_history',  'INSERT', 'event_id user_wallet old_score new_score change_amount reason '
                                              'transaction_hash ledger_sequence created_at'),
            ('liquidity_positions', 'INSERT', 'provider_wallet deposited_amount updated_at')
        ) AS wishes (on_table, may, columns)
        UNION ALL
        -- Columns that refer to a loan's id: a repair of that id looks there first whether it would be refused.
        SELECT referring.relname, 'SELECT', string_agg(DISTINCT attribute.attname, ' ')
        FROM pg_constraint AS one
        JOIN pg_class AS referring ON referring.oid = one.conrelid
        JOIN pg_attribute AS attribute ON attribute.attrelid = one.conrelid AND attribute.attnum = ANY (one.conkey)
        JOIN pg_attribute AS target ON target.attrelid = one.confrelid AND target.attnum = ANY (one.confkey)
        WHERE one.contype = 'f' AND target.attname = 'loan_id'
          AND one.confrelid = to_regclass(format('%I.loans', the_schema))
          AND referring.relnamespace = to_regnamespace(quote_ident(the_schema))
        GROUP BY referring.relname
    LOOP
        CONTINUE WHEN wish.may = 'INSERT' AND NOT adds_rows;
        IF to_regclass(format('%I.%I', the_schema, wish.on_table)) IS NULL THEN
            RAISE NOTICE 'there is no table %: left out', wish.on_table;
            CONTINUE;
        END IF;
        IF wish.columns IS NULL THEN
            EXECUTE format('GRANT %s ON %I.%I TO %I', wish.may, the_schema, wish.on_table, the_role);
        ELSE
            SELECT string_agg(quote_ident(wanted), ', ') FILTER (WHERE held.column_name IS NOT NULL),
                   string_agg(wanted, ', ') FILTER (WHERE held.column_name IS NULL)
            INTO found, missing
            FROM unnest(string_to_array(wish.columns, ' ')) AS wanted
            LEFT JOIN information_schema.columns AS held
              ON held.table_schema = the_schema AND held.table_name = wish.on_table AND held.column_name = wanted;
            IF missing IS NOT NULL THEN
                RAISE NOTICE 'table % has no column %: left out', wish.on_table, missing;
            END IF;
            CONTINUE WHEN found IS NULL;
            EXECUTE format('GRANT %s (%s) ON %I.%I TO %I', wish.may, found, the_schema, wish.on_table, the_role);
        END IF;
        -- One policy a right, on tables that are secured by row; dropped again once they are not needed.
        EXECUTE format('DROP POLICY IF EXISTS %I ON %I.%I', the_role || '_' || lower(wish.may), the_schema, wish.on_table);
        IF NOT bypasses AND (
            SELECT relrowsecurity FROM pg_class WHERE oid = to_regclass(format('%I.%I', the_schema, wish.on_table))
        ) THEN
            EXECUTE format(
                'CREATE POLICY %I ON %I.%I FOR %s TO %I %s',
                the_role || '_' || lower(wish.may), the_schema, wish.on_table, wish.may, the_role,
                CASE wish.may WHEN 'SELECT' THEN 'USING (true)' WHEN 'INSERT' THEN 'WITH CHECK (true)'
                              ELSE 'USING (true) WITH CHECK (true)' END
            );
        END IF;
    END LOOP;

    IF NOT bypasses THEN
        RAISE NOTICE 'BYPASSRLS could not be granted: set CHAINTRUE_SWEEP__ROW_SECURITY=policies';
    END IF;
END
$chaintrue$;
