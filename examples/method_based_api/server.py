"""Views as classes in the way of aiorest-ws 1.1.1, for who moves over: it runs there and here.

A fixed url, a url with two path parameters, and a list in `args`.
"""

from aiorest_ws.app import Application
from aiorest_ws.command_line import CommandLine
from aiorest_ws.routers import SimpleRouter
from aiorest_ws.views import MethodBasedView


class Greeting(MethodBasedView):
    def get(self, request, *args, **kwargs):
        return "Hello, username!"


class PersonalGreeting(MethodBasedView):
    def get(self, request, name, number, *args, **kwargs):
        return f"Hello, {name} with ID={number}"


class Sum(MethodBasedView):
    def get(self, request, numbers, *args, **kwargs):
        return {"sum": sum(numbers)}


router = SimpleRouter()
router.register("/hello", Greeting, "GET")
router.register("/hello/{name}/{number}", PersonalGreeting, ["GET"], name="personal-greeting")
router.register("/sum", Sum, "GET")

if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address to listen on", type=str)
    cmd.define("-port", default=8080, help="port to listen on", type=int)
    options = cmd.parse_command_line()

    app = Application()
    app.run(host=options.ip, port=options.port, router=router)
