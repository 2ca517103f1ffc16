"""Records: what a run measured. `Record`s while it trains, an `Evaluation` of `Row`s after it; reports are views of these, and no logger is known here."""

from mcdist.records.difference import Difference as Difference
from mcdist.records.difference import difference as difference
from mcdist.records.evaluation import Evaluation as Evaluation
from mcdist.records.evaluation import Row as Row
from mcdist.records.evaluation import Subject as Subject
from mcdist.records.panel import Example as Example
from mcdist.records.panel import Neighbours as Neighbours
from mcdist.records.panel import Panel as Panel
from mcdist.records.panel import Retrieved as Retrieved
from mcdist.records.record import Record as Record
