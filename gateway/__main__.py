"""The command `smp-gateway`, also as `python -m gateway`."""

from __future__ import annotations


def main() -> None:
    """Run the command line; its exit codes are documented by `smp-gateway --help`."""
    from gateway.cli import app  # noqa: PLC0415 - one place where the import's cost shows, and only for the command

    app()


if __name__ == "__main__":
    main()
