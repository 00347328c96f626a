"""`csi-cinderlib completion SHELL`: prints a script that completes commands, options and names."""

from __future__ import annotations

from contextlib import suppress

import click

from csi_cinderlib.commands import output

VARIABLE = "_CSI_CINDERLIB_COMPLETE"
"""Environment variable with which the script requests completions."""


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
    # Not script.source(), which runs the local bash to check its version.
    output.print_text(script.source_template % script.source_vars())
    return 0


def answer(program: click.Command, instruction: str) -> int:
    """Print the completions for COMP_WORDS and COMP_CWORD. Returns 1 on failure, without a message, which would garble the prompt."""
    from click.shell_completion import shell_complete

    with suppress(Exception):
        return shell_complete(program, {}, str(program.name), VARIABLE, instruction)
    return 1
