"""Vectors: unit, of the object and not of its surroundings, and the same for an object and its mirror image."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, normalize

from mcdist.model.backbones.backbone import Backbone
from mcdist.zoom.vectors import HEAD, LAST, ZOOM, kinds_of, margin_kind, object_vectors


class Means(Backbone):
    """The mean colour of each 8 x 8 pixels, and twice that plus its square after a last convolution."""

    stride, num_channels, num_blocks, least_blocks = 8, 3, 1, 1
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def __init__(self, *, with_last_convolution: bool = True) -> None:
        super().__init__()
        self.last_convolution = Doubled() if with_last_convolution else None

    def blocks(self) -> list[nn.Module]:
        return []

    def keep_first(self, num_blocks: int) -> None:
        raise NotImplementedError

    def set_recompute(self, recompute: bool) -> None:
        raise NotImplementedError

    def levels(self, image: Float[Tensor, "B 3 H W"]) -> list[Float[Tensor, "B _ _ _"]]:
        return [self(image)]

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        return avg_pool2d(image, 8)


class Doubled(nn.Module):
    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([2 * features, features**2], dim=1)


def pictures(num_objects: int = 3, num_margins: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (num_objects, num_margins, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return images, torch.rand((num_objects, num_margins, 4, 4), generator=generator)


def test_the_vectors_are_what_their_definition_says() -> None:
    images, weights = pictures()
    found = object_vectors(images, weights, backbone=Means(), num_views=1)
    for place in range(3):
        cells = avg_pool2d(images[place, 0].float() / 255, 8).flatten(1).T
        shares = weights[place, 0].flatten()[:, None] + 1e-4
        last = normalize((shares * normalize(cells, dim=1)).sum(0), dim=0)
        head = normalize((shares * torch.cat([2 * cells, cells**2], dim=1)).sum(0), dim=0)
        torch.testing.assert_close(found[LAST][place], last)
        torch.testing.assert_close(found[HEAD][place], head)
        torch.testing.assert_close(found[ZOOM][place], torch.cat([last, head]) / 2**0.5)


def test_with_two_views_an_object_and_its_mirror_image_have_one_vector() -> None:
    images, weights = pictures()
    here, there = (object_vectors(*pair, backbone=Means(), num_views=2)[ZOOM] for pair in ((images, weights), (images.flip(-1), weights.flip(-1))))
    torch.testing.assert_close(here, there)


def test_views_are_averaged_as_unit_vectors() -> None:
    images, weights = pictures(num_margins=2)
    alone = [object_vectors(images[:, [margin]], weights[:, [margin]], backbone=Means(), num_views=2)[LAST] for margin in (0, 1)]
    both = object_vectors(images, weights, backbone=Means(), num_views=4)[LAST]
    assert torch.nn.functional.cosine_similarity(both, alone[0] + alone[1]).min() > 0.9999
    torch.testing.assert_close(both.norm(dim=1), torch.ones(3))


def test_an_object_that_fills_no_cell_is_the_mean_of_its_picture() -> None:
    images, weights = pictures()
    nothing, everything = (object_vectors(images, shares, backbone=Means(), num_views=1)[LAST] for shares in (0 * weights, 0 * weights + 1))
    torch.testing.assert_close(nothing, everything)


def test_a_network_without_a_last_convolution_has_its_last_block_alone() -> None:
    assert list(object_vectors(*pictures(), backbone=Means(with_last_convolution=False), num_views=1)) == [LAST]


def test_several_margins_give_a_kind_each_which_is_what_that_margin_gives_alone() -> None:
    images, weights = pictures(num_margins=2)
    found = object_vectors(images, weights, backbone=Means(), num_views=4)
    assert tuple(found) == kinds_of(Means(), num_views=4) == (LAST, HEAD, ZOOM, "zoom-1", "zoom-2")
    for margin in (0, 1):
        alone = object_vectors(images[:, [margin]], weights[:, [margin]], backbone=Means(), num_views=2)
        torch.testing.assert_close(found[margin_kind(margin)], alone[ZOOM])
