"""The subcommands of `csi-cinderlib`: each module has `command`, a click command or group whose callbacks return the exit code."""
