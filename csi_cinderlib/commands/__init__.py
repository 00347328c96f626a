"""The subcommands of `csi-cinderlib`, a module each: `arguments(parser)` adds the options, `run(args)` returns the exit code."""
