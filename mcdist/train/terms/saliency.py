"""The saliency head's term."""

from mcdist.data.batch import Batch
from mcdist.loss import saliency_loss
from mcdist.train.terms.term import Balance, Candidates, TermValue
from mcdist.types import Embedded


def saliency_term(embedded: Embedded, batch: Batch, candidates: Candidates, balance: Balance) -> TermValue:
    """The saliency head must tell objects from background: `mcdist.loss.saliency_loss`."""
    return TermValue(saliency_loss(embedded.saliency.float(), batch.query_instances, num_positive=balance.num_positive, num_negative=balance.num_negative))
