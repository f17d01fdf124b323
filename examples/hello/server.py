"""The smallest server: one function at one url. Start it, then `client.py`, or open `index.html` in a browser."""

from aiorest_ws import Application, SimpleRouter
from aiorest_ws.command_line import CommandLine

router = SimpleRouter()


@router.get("/hello")
def hello(request):
    return "Hello, world!"


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address to listen on", type=str)
    cmd.define("-port", default=8080, help="port to listen on", type=int)
    options = cmd.parse_command_line()

    # Whose pages may connect: index.html, opened as a file, or served by `python -m http.server 8000 -d examples`.
    # By default, only the server's own.
    app = Application(allowed_origins=["null", "file://", "http://127.0.0.1:8000", "http://localhost:8000"])
    app.run(host=options.ip, port=options.port, router=router)
