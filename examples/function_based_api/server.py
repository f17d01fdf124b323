"""Views as functions in the way of aiorest-ws 1.1.1, for who moves over; new programs decorate with `@router.get(…)`.

`@endpoint` says the url and the methods, `register_endpoint` gives it to a router.
"""

from aiorest_ws.app import Application
from aiorest_ws.command_line import CommandLine
from aiorest_ws.decorators import endpoint
from aiorest_ws.routers import SimpleRouter


@endpoint("/hello", methods="GET")
def hello(request, *args, **kwargs):
    return "Hello, world!"


@endpoint("/sum/{a}/{b}", methods=["GET"])
def add(request, a, b, *args, **kwargs):
    return f"{a} + {b} = {int(a) + int(b)}"


router = SimpleRouter()
router.register_endpoint(hello)
router.register_endpoint(add)

if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address to listen on", type=str)
    cmd.define("-port", default=8080, help="port to listen on", type=int)
    options = cmd.parse_command_line()

    app = Application()
    app.run(ip=options.ip, port=options.port, router=router)
