"""Sections of the documentation that messages refer to. A test checks that they exist."""

REFUSAL_PAGE = "docs/how-to/recover-a-volume.md#a-refusal-to-format"
JOURNAL_PAGE = "docs/how-to/recover-a-volume.md#a-journal-that-cannot-be-replayed"
ERRORS_PAGE = "docs/how-to/recover-a-volume.md#a-file-system-with-errors"
KEYS_PAGE = "docs/how-to/encrypt-volumes.md#a-key-is-refused"
HEADER_PAGE = "docs/how-to/encrypt-volumes.md#a-header-is-refused"
NAMES_PAGE = "docs/how-to/troubleshoot.md#two-nodes-have-one-name"
ORPHAN_PAGE = "docs/how-to/recover-a-volume.md#an-orphan-on-the-array"
