"""The model that MLflow serves: a photo in base64 to its mask and vector. MLflow runs this file when it loads the model; nothing is pickled.

It imports mcdist when it is loaded, so mcdist has to be installed where it is served.
"""

import base64
import io
from typing import Any

import mlflow
import numpy
import torch
from mlflow.pyfunc import PythonModel
from PIL import Image, ImageOps
from torch.nn.functional import interpolate, normalize


class ServedEncoder(PythonModel):  # type: ignore[misc]
    """One row a photo: a column `photo` with the file's bytes in base64."""

    def load_context(self, context: Any) -> None:
        """Load the encoder that is kept beside this file."""
        from mcdist.trained import load_encoder

        self.encoder = load_encoder(context.artifacts["encoder"])

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads hints here as a schema of its own
        """Of each photo: width, height, the share of salient pixels, the mask as a PNG in base64 (255: salient), the unit mean embedding of the salient
        cells (of all cells where none is).
        """
        return [self._answer(text) for text in model_input["photo"]]

    @torch.no_grad()
    def _answer(self, text: str) -> dict[str, Any]:
        from mcdist.trained import embed_photo

        try:
            photo = ImageOps.exif_transpose(Image.open(io.BytesIO(base64.b64decode(text, validate=True)))).convert("RGB")
        except (ValueError, OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"`photo` must be the bytes of a JPEG or PNG file in base64, got text of {len(text)} characters ({error})") from error
        pixels = torch.from_numpy(numpy.asarray(photo).transpose(2, 0, 1).copy())
        embedded = embed_photo(self.encoder, pixels)
        stride = self.encoder.backbone.stride
        full = [side * stride for side in embedded.saliency.shape[2:]]
        mask = interpolate(embedded.saliency, full, mode="bilinear", align_corners=False)[0, 0, : photo.height, : photo.width] > 0
        cells = normalize(embedded.features, dim=1)[0].flatten(1)
        chosen = cells[:, (embedded.saliency[0, 0] > 0).flatten()] if bool((embedded.saliency > 0).any()) else cells
        return {
            "width": photo.width,
            "height": photo.height,
            "salient_share": float(mask.float().mean()),
            "mask_png": _png(mask.numpy().astype(numpy.uint8) * 255),
            "vector": normalize(chosen.mean(1), dim=0).tolist(),
        }


def _png(pixels: numpy.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


if __name__ != "mcdist.export.served":
    mlflow.models.set_model(ServedEncoder())
