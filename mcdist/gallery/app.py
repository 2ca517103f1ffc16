"""App: the page's routes. Requests name objects, clusters and photos by number only, so no path of a request reaches the file system."""

import json
from collections.abc import Callable
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi import Path as ApiPath
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from mcdist.catalogue.names import CHILDREN_MAX, NAME_MAX, Names
from mcdist.errors import ConfigError, DataError, McdistError, OutdatedError
from mcdist.gallery.dropped import Dropped, DroppedPhotos, about
from mcdist.gallery.guard import TooLong
from mcdist.gallery.pictures import Pictures
from mcdist.gallery.session import NUM_EXAMPLES, Session

NUM_NEAR = 60
"""Nearest objects that are shown."""

SCRIPTS = ("api", "cluster", "dom", "gallery", "grid", "main", "object", "photo")
FILES = {
    "/": ("index.html", "text/html"),
    "/view.css": ("view.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in SCRIPTS},
}
"""All files that are served, by the path that they are served at."""

Number = Annotated[int, Field(ge=0, lt=2**31, strict=True)]


class Change(BaseModel):
    """One action, and the revision of the names that it is meant for."""

    model_config = ConfigDict(extra="forbid")

    do: Literal["name", "merge", "separate", "split", "reject", "restore", "undo", "redo"]
    revision: Number
    cluster: Number | None = None
    into: Number | None = None
    name: Annotated[str, Field(max_length=4 * NAME_MAX)] | None = None
    parts: Annotated[int, Field(ge=2, le=CHILDREN_MAX, strict=True)] = 2
    objects: list[Number] = []


def make_app(session: Session, *, pictures: Pictures, dropped: DroppedPhotos) -> FastAPI:
    """The application; `guard.Guard` must be around it."""
    app = FastAPI(title="mcdist view", docs_url=None, redoc_url=None, openapi_url=None)
    _add_errors(app, session)
    for path, (name, kind) in FILES.items():
        content = files("mcdist.gallery").joinpath("page", name).read_bytes()
        app.add_api_route(path, _constant(content, kind=kind), methods=["GET"])

    @app.get("/api/state")
    def state() -> Response:
        return _json(session.state())

    @app.get("/api/revision")
    def revision() -> Response:
        return _json({"revision": session.shown().names.revision})

    @app.post("/api/change")
    def change(wanted: Change) -> Response:
        session.change(_action(wanted, session=session), revision=wanted.revision)
        return _json(session.state())

    @app.get("/api/clusters/{cluster}")
    def objects_of(cluster: int) -> Response:
        return _json(session.objects_of(cluster))

    @app.get("/api/objects/{row}")
    def about_object(row: int) -> Response:
        return _json(session.about_object(_existing(row, session=session), num_near=NUM_NEAR))

    @app.get("/api/find")
    def find(text: Annotated[str, Query(min_length=1, max_length=200)]) -> Response:
        return _json({"objects": session.find(text)})

    @app.get("/pictures/objects/{row}")
    def thumbnail(row: int) -> Response:
        return _picture(pictures.thumbnail(_existing(row, session=session)))

    @app.get("/pictures/mosaics/{rows}")
    def mosaic(rows: Annotated[str, ApiPath(pattern=rf"^[0-9]{{1,9}}(-[0-9]{{1,9}}){{0,{NUM_EXAMPLES - 1}}}$")]) -> Response:
        return _picture(pictures.mosaic([_existing(int(row), session=session) for row in rows.split("-")]))

    @app.get("/pictures/photos/{row}")
    def photo_with(row: int) -> Response:
        return _picture(pictures.photo_with(_existing(row, session=session)))

    @app.post("/api/photos")
    async def drop(request: Request) -> Response:
        content = await request.body()
        return _json(await run_in_threadpool(lambda: _about(dropped.add(content), session=session)))

    @app.get("/api/photos/{key}")
    def about_photo(key: str) -> Response:
        return _json(_about(dropped.get(key), session=session))

    @app.get("/api/photos/{key}/near")
    def near(key: str, x: float = -1.0, y: float = -1.0, number: int = 0) -> Response:
        photo = dropped.get(key)
        number, vector = photo.vector_of(number) if number else photo.vector_at(x, y)
        return _json({"number": number, "near": session.near(vector, num=NUM_NEAR), **session.labels(vector[None])[0]})

    @app.get("/pictures/dropped/{key}")
    def dropped_picture(key: str) -> Response:
        return _picture(dropped.get(key).picture)

    @app.get("/pictures/maps/{key}")
    def dropped_map(key: str) -> Response:
        return _picture(dropped.get(key).segment_map, kind="image/png")

    return app


def _action(wanted: Change, *, session: Session) -> Callable[[Names], Names]:
    """What the change does to the names. K-means of a split runs here, before anybody else has to wait for it."""
    cluster, into, name = wanted.cluster, wanted.into, wanted.name
    match wanted.do:
        case "undo":
            return Names.undo
        case "redo":
            return Names.redo
        case "reject":
            return lambda names: names.reject(wanted.objects)
        case "restore":
            return lambda names: names.restore(wanted.objects)
        case "name" if cluster is not None and name is not None:
            return lambda names: names.name(cluster, name)
        case "merge" if cluster is not None and into is not None:
            return lambda names: names.merge(cluster, into=into)
        case "separate" if cluster is not None:
            return lambda names: names.separate(cluster)
        case "split" if cluster is not None:
            centroids = session.parts_of(cluster, num=wanted.parts)
            return lambda names: names.split(cluster, centroids=centroids)
    raise ConfigError(f"the action “{wanted.do}” lacks its cluster, or what to do with it")


def _about(photo: Dropped, *, session: Session) -> dict[str, Any]:
    return about(photo, labels=session.labels(photo.found.vectors))


def _existing(row: int, *, session: Session) -> int:
    if not 0 <= row < session.num_objects:
        raise HTTPException(404, f"there is no object {row}")
    return row


def _constant(content: bytes, *, kind: str) -> Any:
    async def answer() -> Response:
        return Response(content, media_type=f"{kind}; charset=utf-8")

    return answer


def _json(values: Any, *, status: int = 200) -> Response:
    """ASCII only: names of photos may hold bytes that are no text, which travel as escapes."""
    return Response(json.dumps(values, separators=(",", ":"), allow_nan=False), status_code=status, media_type="application/json")


def _picture(content: bytes, *, kind: str = "image/jpeg") -> Response:
    """A picture; its address names the catalogue, so it never changes."""
    return Response(content, media_type=kind, headers={"cache-control": "private, max-age=31536000, immutable"})


def _add_errors(app: FastAPI, session: Session) -> None:
    """Every refusal is one sentence; with 409 comes the newer state, so that the page can show it at once."""

    @app.exception_handler(McdistError)
    def ours(request: Request, error: Exception) -> Response:
        if isinstance(error, OutdatedError):
            return _json({"error": str(error), "state": session.state()}, status=409)
        return _json({"error": str(error)}, status=400 if isinstance(error, (ConfigError, DataError)) else 500)

    @app.exception_handler(HTTPException)
    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return _json({"error": str(error.detail)}, status=error.status_code)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return _json({"error": f"the request's {where} is wrong: {first['msg']}"}, status=422)

    @app.exception_handler(TooLong)
    def too_long(request: Request, error: Exception) -> Response:
        return _json({"error": "what was sent is too long"}, status=413)
