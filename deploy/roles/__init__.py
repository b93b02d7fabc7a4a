"""The roles with which chaintrue reaches the databases of applications: SQL that their owners run."""
