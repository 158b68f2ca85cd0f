"""The `mlrun` command: its families, loaded when they are called, and the one place where errors are caught."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence

import click

from runner import __version__
from runner.cli.session import Session
from runner.errors import MlrunError

_COMMANDS = {
    "run": "runner.cli.run:run",
    "rerun": "runner.cli.rerun:rerun",
    "list": "runner.cli.listing:list_runs",
    "show": "runner.cli.show:show",
    "logs": "runner.cli.follow:logs",
    "wait": "runner.cli.follow:wait",
    "cancel": "runner.cli.follow:cancel",
    "metrics": "runner.cli.metrics:metrics",
    "fetch": "runner.cli.fetch:fetch",
    "artifacts": "runner.cli.artifacts:artifacts",
    "diff": "runner.cli.diff:diff",
    "compare": "runner.cli.compare:compare",
    "lineage": "runner.cli.lineage:lineage",
    "note": "runner.cli.lineage:note",
    "verify": "runner.cli.verify:verify",
    "sign": "runner.cli.sign:sign",
    "export": "runner.cli.share:export",
    "import": "runner.cli.share:import_bundle",
    "push": "runner.cli.exchange:push",
    "pull": "runner.cli.exchange:pull",
    "publish": "runner.cli.publish:publish",
    "rm": "runner.cli.clean:rm",
    "gc": "runner.cli.clean:gc",
    "check": "runner.cli.check:check",
    "lock": "runner.cli.lock:lock",
    "env": "runner.cli.env:env",
    "host": "runner.cli.host:host",
}


class Families(click.Group):
    """Commands by name; the module of one is imported when it is called, so that each starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which people need them."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None where there is none of that name."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; an unknown name is answered with the nearest known ones."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], _COMMANDS, n=3)
            if near:
                message = f"{error.message} Did you mean {' or '.join(near)}?"
                raise click.UsageError(message, ctx) from None
            raise


@click.group(cls=Families, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mlrun")
@click.option("--verbose", is_flag=True, help="Say more of what mlrun does.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
@click.pass_obj
def mlrun(session: Session, *, verbose: bool, quiet: bool) -> None:
    """Run an MLproject, keep a record of it, and run it again, exactly.

    \b
    Examples:
      mlrun run . -P alpha=0.5        run the entry point `main` of this project
      mlrun list                      the runs so far
      mlrun rerun latest              the newest run again, and whether the result is the same
    """
    session.verbose |= verbose
    session.quiet |= quiet


def run(argv: Sequence[str]) -> int:
    """Carry out a command line and return its exit code; what goes wrong is one line, and never a traceback."""
    session = Session()
    try:
        _refuse_windows()
        color = False if os.environ.get("NO_COLOR") else None
        code = mlrun.main(list(argv), prog_name="mlrun", standalone_mode=False, obj=session, color=color)
        sys.stdout.flush()
    except click.ClickException as error:
        session.json |= "--json" in argv  # a wrong word may stand before the option that was to set it
        code = _refuse_usage(session, error)
    except MlrunError as error:
        code = session.refuse(error.message, error.hint, error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        code = 130
    except BrokenPipeError:  # the reader of our output has gone: `mlrun list | head`
        _print_nothing_more()
        code = 141
    except OSError as error:
        if error.errno == errno.ENOENT and not _is_somewhere():
            code = session.refuse("the directory that you are in is not there any more", "`cd` to one that is", 125)
        elif error.errno != errno.ENOSPC or error.filename is not None:
            code = session.crash(error, argv)
        else:  # `mlrun list > /full/disk/file`
            _print_nothing_more()
            hint = "free some space; a run that was started goes on, and `mlrun logs` has what it printed"
            code = session.refuse(f"the output cannot be written: {error.strerror}", hint, 125)
    except Exception as error:  # noqa: BLE001 - the last resort, for our own defects
        code = session.crash(error, argv)
    return code if isinstance(code, int) else 0


def _is_somewhere() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 - whether it is there is all that is asked
    except FileNotFoundError:
        return False
    return True


def _print_nothing_more() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _refuse_usage(session: Session, error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return error.exit_code
    context = getattr(error, "ctx", None)
    hint = f"{context.command_path if context is not None else 'mlrun'} --help shows the words it knows"
    return session.refuse(error.format_message().rstrip("."), hint, error.exit_code)


def _refuse_windows() -> None:
    if os.name == "nt":
        message = "mlrun does not run on Windows"
        raise MlrunError(message, hint="run it inside WSL 2, where it is a Linux program")
