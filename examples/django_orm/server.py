"""A model of Django, whose ORM blocks, behind views that run in threads.

The database is a file in a temporary directory, made at the start. A project has its settings in
`DJANGO_SETTINGS_MODULE`, and its tables by `manage.py migrate`.
"""

import asyncio
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import django
from django.conf import settings

from aiorest_ws.app import Application
from aiorest_ws.command_line import CommandLine
from aiorest_ws.exceptions import HTTPError
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.views import MethodBasedView
from aiorest_ws.wrappers import Response

directory = Path(tempfile.mkdtemp())
database = {"ENGINE": "django.db.backends.sqlite3", "NAME": directory / "garage.sqlite3", "OPTIONS": {"timeout": 20}}
settings.configure(DATABASES={"default": database}, INSTALLED_APPS=["garage"])
django.setup()

# Models can be imported when Django is set up.
from django.core.exceptions import ObjectDoesNotExist, ValidationError  # noqa: E402
from django.db import close_old_connections, connection, transaction  # noqa: E402

from garage.models import Car  # noqa: E402


class DjangoView(MethodBasedView):
    """Runs in a thread; around each request it does what Django does, which keeps a connection for each thread."""

    threaded = True

    def dispatch(self, request, *args, **kwargs):
        close_old_connections()
        try:
            with transaction.atomic():
                return super().dispatch(request, *args, **kwargs)
        finally:
            close_old_connections()


def public(car):
    return {"id": car.id, "name": car.name, "price": car.price, "built": car.built}


def saved(car, data):
    if not isinstance(data, dict):
        raise HTTPError(422, "data must be an object")
    for field in ("name", "price", "built"):
        if field in data:
            setattr(car, field, data[field])
    car.full_clean()
    car.save()
    return public(car)


class Cars(DjangoView):
    def get(self, request, starts="", limit=20):
        return [public(car) for car in Car.objects.filter(name__startswith=starts).order_by("name")[:limit]]

    def post(self, request):
        return Response(saved(Car(), request.data), status=201)


class OneCar(DjangoView):
    def get(self, request, number):
        return public(Car.objects.get(pk=number))

    def patch(self, request, number):
        return saved(Car.objects.get(pk=number), request.data)

    def delete(self, request, number):
        Car.objects.get(pk=number).delete()


router = SimpleRouter()
router.register("/cars", Cars, ["GET", "POST"])
router.register("/cars/{number:int}", OneCar, ["GET", "PATCH", "DELETE"])


@router.exception_handler(ObjectDoesNotExist)
async def missing(request, exc):
    return HTTPError(404, str(exc))


@router.exception_handler(ValidationError)
async def invalid(request, exc):
    return HTTPError(422, exc.message_dict)


def create_tables():
    with connection.schema_editor() as editor:
        editor.create_model(Car)
    connection.close()


@asynccontextmanager
async def lifespan(app):
    await asyncio.to_thread(create_tables)  # in the loop's thread Django refuses to wait
    yield
    shutil.rmtree(directory)


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address to listen on", type=str)
    cmd.define("-port", default=8080, help="port to listen on", type=int)
    options = cmd.parse_command_line()

    app = Application(lifespan=lifespan)
    app.run(host=options.ip, port=options.port, router=router)
