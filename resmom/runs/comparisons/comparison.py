"""What the finished cells of a grid say, as it is given to whoever asked: it shows itself as tables."""

from dataclasses import dataclass

from resmom.runs.comparisons.compared import Compared
from resmom.runs.comparisons.comparisontables import Format, written


@dataclass(frozen=True)
class Comparison(Compared):
    """What `Compared` holds; it shows itself as a table when it is printed."""

    def table(self, format: Format = "text") -> str:
        """The tables, without a line end: as text, which is what `print` shows, in Markdown, in LaTeX (with the package
        booktabs), or every number of every measure as CSV. Raises UserError for another format."""
        return written(self, format)

    def __str__(self) -> str:
        return self.table()
