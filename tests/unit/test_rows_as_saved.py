"""Rows are compared with those saved, where any were: a run may have been killed before."""

from __future__ import annotations

import pytest

from omsfab.plan.records import RowsAsSaved
from omsfab.run.engine.interpreter import Interpreter


class Rows:
    """A MetaDB whose marker says whether the run has deleted rows; a comparison wants a backup."""

    def __init__(self, deleted):
        self.deleted = deleted

    def deleted_by(self, run, location):
        return self.deleted

    def rows_as_saved(self, location, backup):
        if not any(backup.glob("*.jsonl")):
            raise FileNotFoundError(backup)


def test_a_run_that_saved_no_row_has_deleted_none(tmp_path):
    """Killed before: no backup is asked for, and the rollback does not end with 9."""
    assert None is Interpreter("r", tmp_path, {}, Rows(deleted=False)).ask(RowsAsSaved(1), "metadb")


def test_rows_that_were_deleted_want_their_backup(tmp_path):
    """The marker says that there was one, and it is not here: that is no success."""
    with pytest.raises(FileNotFoundError):
        Interpreter("r", tmp_path, {}, Rows(deleted=True)).ask(RowsAsSaved(1), "metadb")
