"""Train a gpt-oss to write like one author, and show that it does.

Importing the package does nothing else; see `ghostpen.cli` for the verbs.
"""

__version__ = "0.1.0"
