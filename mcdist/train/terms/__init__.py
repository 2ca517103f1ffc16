"""Loss terms, a file each.

A new term is a function in a file here and a line in `mcdist.build.loss_terms`, which takes its weight from the configuration; it is logged as `loss/NAME`.
"""

from mcdist.train.terms.contrast import contrast_term
from mcdist.train.terms.group import group_term
from mcdist.train.terms.group_contrast import group_contrast_term
from mcdist.train.terms.saliency import saliency_term
from mcdist.train.terms.term import Balance, Candidates, GroupTargets, Term, TermFunction, TermValue, weighted_sum

__all__ = [
    "Balance",
    "Candidates",
    "GroupTargets",
    "Term",
    "TermFunction",
    "TermValue",
    "contrast_term",
    "group_contrast_term",
    "group_term",
    "saliency_term",
    "weighted_sum",
]
