"""Let `python -m ghostpen` do what the `ghostpen` command does."""

from ghostpen.cli import app

if __name__ == "__main__":
    app(prog_name="ghostpen")
