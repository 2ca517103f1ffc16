"""FAISS: the one place that imports it, and says what to install where it is missing. The same lines run on faiss-cpu and faiss-gpu."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from mcdist.errors import MissingExtraError

NO_FAISS = "clustering needs FAISS, which is not installed; install it with: pip install 'mcdist[faiss-cpu]' (or faiss-gpu)"


def require_faiss() -> None:
    """Raises MissingExtraError where FAISS is not installed. Imports nothing, so it can be asked long before clustering."""
    if importlib.util.find_spec("faiss") is None:
        raise MissingExtraError(NO_FAISS)


def load_faiss() -> ModuleType:
    """The module; MissingExtraError with the install line where it cannot be imported."""
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError(NO_FAISS) from error
    return faiss


ONE_THREAD_PRODUCTS = 2**27
"""Below so many multiplications a pass, threads cost more than they save: 437 vectors on two busy cores take 7 to 30 times as long with two."""


@contextmanager
def faiss_threads(faiss: ModuleType, *, num_products: int) -> Iterator[None]:
    """FAISS computes a small pass in one thread, others in as many as before; the earlier number returns at the end."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1 if num_products < ONE_THREAD_PRODUCTS else before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)
