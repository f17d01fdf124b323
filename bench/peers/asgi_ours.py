# mypy: ignore-errors
"""aiorest-ws behind uvicorn, as any application of ASGI: `python asgi_ours.py PORT uvloop|asyncio`."""

from handlers import serve

from aiorest_ws import Application, SimpleRouter

router = SimpleRouter()


@router.get("/hello")
def hello(request):
    return "Hello, world!"


app = Application(router=router).asgi(path="/")

if __name__ == "__main__":
    serve(app)
