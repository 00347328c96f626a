"""`csi-cinderlib completion SHELL`: a script that completes commands, options and names."""

from __future__ import annotations

from contextlib import suppress

import click

from csi_cinderlib.commands import output

VARIABLE = "_CSI_CINDERLIB_COMPLETE"
"""By it the script asks for completions."""


@click.command(
    epilog="""\b
Load it in the running shell, or in ~/.bashrc, ~/.zshrc or ~/.config/fish/config.fish:
  bash:  eval "$(csi-cinderlib completion bash)"
  zsh:   eval "$(csi-cinderlib completion zsh)"
  fish:  csi-cinderlib completion fish | source
"""
)
@click.argument("shell", metavar="SHELL", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(context: click.Context, shell: str) -> int:
    """Print the script."""
    from click.shell_completion import get_completion_class

    root = context.find_root().command
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(root, {}, str(root.name), VARIABLE)
    # Not script.source(): for bash, that starts the bash of this machine to ask for its version.
    output.print_text(script.source_template % script.source_vars())
    return 0


def answer(program: click.Command, instruction: str) -> int:
    """Print what the script asks for in COMP_WORDS and COMP_CWORD. Returns 1 if that fails, in silence: it is in somebody's prompt."""
    from click.shell_completion import shell_complete

    with suppress(Exception):
        return shell_complete(program, {}, str(program.name), VARIABLE, instruction)
    return 1
