"""From the tables that the chain proves to the application's database: diff, classify, confirm, plan, apply, verify, report."""
