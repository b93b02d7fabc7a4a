"""The subcommands of `chaintrue`, one file each."""
