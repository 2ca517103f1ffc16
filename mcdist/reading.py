"""Reading: a reader as the configuration says. Apart from `mcdist.build`, since it needs no torch: who only reads photos starts in a blink."""

from mcdist.config.sections.data import DataConfig
from mcdist.data.readers.open import open_shards
from mcdist.data.readers.reader import SampleReader
from mcdist.errors import ConfigError


def open_reader(location: str, *, key: str, data: DataConfig) -> SampleReader:
    """A reader of the shard folder that the setting `key` names, of either format."""
    if not location:
        raise ConfigError(f"{key} is not set; name a shard folder: {key}=DIR (build one with: mcdist shards build ...)")
    return open_shards(
        location,
        cache_dir=data.cache_dir,
        cache_gib=data.cache_gib,
        stage_to=data.stage_to,
        verify=data.verify,
        ffcv_cache=data.ffcv_cache,
    )
