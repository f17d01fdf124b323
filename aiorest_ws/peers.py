"""A name that other frameworks have → what does that here.

Of modules (`from aiorest_ws import HTTPException`), of applications and routers (`@app.get`), and of options. It is
said to who asks for the name; `hasattr` is false, as ever. Names that tools look for by themselves (`models`, `tasks`,
`__wrapped__`) are not here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

__all__ = ("MODULES", "NAMES", "OF_APPLICATIONS", "OF_ROUTERS", "OPTIONS", "of_peers")

C = TypeVar("C", bound=type)


def _by_word(words: Mapping[str, str]) -> dict[str, str]:
    """Give word → cure of cure → words."""
    return {word: cure for cure, many in words.items() for word in many.split()}


_RETURNED = "return the value, or aiorest_ws.Response(value, status=201): it is sent in the form of the request"
_ARGUMENT = "a parameter of a handler is what its name says: of the path, of `args`, `data` (docs/tutorial/3-typed.md)"
_ROUTER = "routes are those of a router: SimpleRouter(), @router.get(path), Application(router)"
_INCLUDE = "router.include(other, prefix='/v1') takes in another router"
_AROUND = "middlewares=[…]) has what stands around handlers (docs/guide/middlewares.md)"
_OF_LIFE = "Application(router, lifespan=…) has what is done before and after serving (docs/guide/lifespan.md)"
_LIVE = "@router.get(path, live=True) may be subscribed to, app.live.changed(url) tells of changes"
_SOCKET = f"every route is called over the WebSocket: @router.get(path); and {_LIVE}"
_FAILED = "exception_handler(KeyError) decorates what answers when a request fails with that"
_CLIENT = "it is in aiorest_ws.client"
_TESTING = "it is in aiorest_ws.testing"
_RAISED = "raise aiorest_ws.HTTPError(404, 'no such order')"

NAMES: Final = _by_word(
    {
        "use aiorest_ws.Application(router)": "FastAPI Starlette Flask Sanic Quart Litestar Robyn App Server Api API "
        "AioRest AsyncServer",
        "use aiorest_ws.SimpleRouter": "APIRouter Router Blueprint APIWebSocketRoute WebSocketRoute Route",
        _RAISED: "HTTPException WebSocketException abort NotFound BadRequest Forbidden Unauthorized",
        _RETURNED: "jsonify make_response render_template JSONResponse ORJSONResponse UJSONResponse PlainTextResponse "
        "HTMLResponse RedirectResponse StreamingResponse FileResponse json_response",
        _ARGUMENT: "Body Query Path Header Cookie Form File UploadFile Param",
        "use aiorest_ws.Depends": "Security Provide Inject Dependency",
        "use msgspec.Struct, a dataclass or pydantic's own (docs/guide/typed.md)": "BaseModel Schema Struct Field",
        "use asyncio.create_task, or a task of the lifespan (docs/guide/lifespan.md)": "BackgroundTasks BackgroundTask",
        _SOCKET: "WebSocket WebSocketDisconnect WebSocketState WebSocketEndpoint websocket emit join_room leave_room "
        "AsyncWebsocketConsumer WebsocketConsumer AsyncJsonWebsocketConsumer Namespace "
        "AsyncNamespace ConnectionManager",
        "use aiorest_ws.MethodBasedView": "APIView MethodView HTTPEndpoint ViewSet ModelViewSet GenericAPIView View",
        "a function of request and call_next is one (docs/guide/middlewares.md)": "Middleware "
        "BaseMiddleware BaseHTTPMiddleware MiddlewareMixin",
        "use the option allowed_origins (docs/guide/connections.md#origins)": "CORSMiddleware CORS",
        "use the option allowed_hosts (docs/guide/connections.md#hosts)": "TrustedHostMiddleware",
        "use the option compress": "GZipMiddleware",
        "use JSONWebTokenMiddleware (docs/authentication.md)": "OAuth2PasswordBearer OAuth2PasswordRequestForm "
        "HTTPBearer HTTPBasic APIKeyHeader AuthenticationMiddleware JWTManager LoginManager",
        "it is in aiorest_ws.auth.token.middlewares": "JSONWebTokenMiddleware",
        _CLIENT: "AsyncClient Client",
        _TESTING: "TestClient AsyncTestClient",
        "it is in aiorest_ws.metrics": "Metrics",
        "it is in aiorest_ws.renderers": "JSONRenderer XMLRenderer",
        "it is in aiorest_ws.permissions": "AbstractPermission",
        "use aiorest_ws.permissions.AbstractPermission": "BasePermission Permission",
        "it is in aiorest_ws.auth.permissions": "IsAuthenticated HasScope",
        "it is router.url_for(name, …), and aiorest_ws.urls.reverse": "reverse url_for url_path_for",
        "a handler takes it as its first parameter: def show(request)": "current_request g session",
    }
)
"""Of the package and its public modules."""

MODULES: Final = _by_word(
    {
        "use aiorest_ws.testing": "testclient",
        _RETURNED: "responses jsonify",
        _SOCKET: "websockets socketio",
        _ARGUMENT: "params",
        "use JSONWebTokenMiddleware (docs/authentication.md)": "security",
        "use the option allowed_origins (docs/guide/connections.md#origins)": "middleware.cors cors",
        "use aiorest_ws.middlewares": "middleware",
        "use the option http=… with an ASGI app that has them (docs/http.md)": "staticfiles templating",
        "use asyncio.create_task, or a task of the lifespan (docs/guide/lifespan.md)": "background",
        _RAISED: "abort",
        "use aiorest_ws.Application": "application applications",
        "use aiorest_ws.routers": "router",
    }
)
"""Of modules, dotted, below the package."""

OF_ROUTERS: Final = _by_word(
    {
        _INCLUDE: "include_router include_routers register_blueprint add_router mount nest add_subapp register_router",
        "router.register(path, handler, methods) has a handler that is no decorated function": "add_api_route "
        "add_route add_url_rule add_endpoint add_get add_post add_put add_patch add_delete add_view add_resource",
        "it is router.route(path, methods)": "api_route endpoint",
        _SOCKET: "websocket websocket_route ws add_websocket_route add_api_websocket_route on on_message event emit",
        f"SimpleRouter({_AROUND}": "middleware add_middleware before_request after_request use",
        f"router.{_FAILED}": "errorhandler error_handler add_exception_handler app_errorhandler",
        "it is router.url_for(name, …)": "url_path_for reverse url",
        _LIVE: "subscribe subscription live publish changed topic broadcast",
        _OF_LIFE: "on_event on_startup on_shutdown lifespan before_serving after_serving",
        "it is Application(router).run()": "run serve listen",
    }
)

OF_APPLICATIONS: Final = _by_word(
    {
        _ROUTER: "get post put patch delete head options trace route api_route add_api_route add_route add_url_rule "
        "add_routes add_get add_post endpoint register register_endpoint routes router",
        f"{_INCLUDE}; of the one that Application(router) has": "include_router include register_blueprint blueprint "
        "add_router register_router mount add_subapp",
        f"{_SOCKET}, of the router that Application(router) has": "websocket websocket_route add_websocket_route ws on "
        "event on_message",
        f"Application(router, {_AROUND}": "middleware add_middleware before_request after_request teardown_request use "
        "user_middleware",
        f"app.{_FAILED}": "errorhandler error_handler add_exception_handler register_error_handler",
        _OF_LIFE: "on_event add_event_handler before_serving after_serving before_first_request listener "
        "before_server_start after_server_stop on_startup on_shutdown on_cleanup cleanup_ctx lifespan",
        "app.live.publish(url, value) and app.live.changed(url) tell who subscribes to a url": "emit broadcast publish "
        "send send_event changed group_send send_to_group notify",
        "options are keywords of Application(…); app.state is a namespace for what handlers share": "config conf "
        "settings extensions ctx",
        "it is app.run(), or await app.serve() where a loop runs": "listen serve_forever run_forever run_app "
        "run_server run_async start_server",
        "it is app.shut_down(), or await app.stop()": "shutdown close",
        "it is aiorest_ws.testing.TestClient(app)": "test_client test_request_context",
        "it is router.url_for(name, …), in a handler request.route.url_for": "url_for url_path_for reverse",
        "it is `broker`: Application(router, broker='redis://…')": "broker",
    }
)

OPTIONS: Final = _by_word(
    {
        "max_message_size": "max_size max_msg_size max_payload maxpayload max_payload_size max_http_buffer_size "
        "ws_max_size websocket_max_message_size max_body_size client_max_size max_content_length max_request_size",
        "max_push_buffer": "max_queue ws_max_queue queue_size write_limit high_water_mark",
        "max_connections": "max_clients limit_concurrency max_users",
        "requests_per_second": "rate_limit ratelimit limiter rate max_requests_per_second",
        "ping_interval": "heartbeat heartbeat_interval keepalive keep_alive keepalive_interval",
        "ping_timeout": "heartbeat_timeout pong_timeout keepalive_timeout",
        "idle_timeout": "timeout_keep_alive receive_timeout inactivity_timeout",
        "request_timeout": "timeout handler_timeout response_timeout",
        "shutdown_timeout": "graceful_timeout timeout_graceful_shutdown graceful_shutdown_timeout",
        "certificate": "ssl_certfile certfile cert ssl_cert tls_cert ssl_certificate certificate_file",
        "key": "ssl_keyfile keyfile ssl_key tls_key private_key key_file",
        "key_password": "ssl_keyfile_password",
        "allowed_origins": "cors_allowed_origins cors cors_origins origins check_origin origin",
        "allowed_hosts": "trusted_hosts server_names",
        "trusted_proxies": "proxy_headers forwarded_allow_ips trust_proxy proxies",
        "api_title": "title name app_name",
        "api_version": "version",
        "compress": "compression permessage_deflate per_message_deflate permessagedeflate ws_per_message_deflate "
        "websocket_compression gzip",
        "access_log": "log logging request_log",
        "broker": "redis redis_url client_manager message_queue channel_layer channel_layers backend broker_url",
        "threads": "max_workers thread_pool_size executor",
        "workers": "worker num_workers",
        "host": "bind address hostname interface server_name",
        "unix_path": "uds unix unix_socket socket_path",
        "sock": "socket",
        "http_prefix": "root_path base_path",
        "path": "ws_path websocket_path endpoint",
        "subprotocols": "sub_protocols",
        "lifespan": "cleanup_ctx lifespan_context",
        "`key` and `certificate` are paths of files, `ssl_context` is an ssl.SSLContext": "ssl tls secure",
        "`aiorest-ws run main:app --reload` does it": "reload use_reloader auto_reload hot_reload",
        "`schema` serves /openapi.json, `console` the page of it": "openapi docs docs_url openapi_url "
        "redoc_url swagger",
        "`@app.exception_handler(KeyError)` adds one": "exception_handlers error_handlers",
        "JSONWebTokenMiddleware has it (docs/authentication.md)": "secret secret_key jwt_secret",
        "`http` takes an ASGI app that has them (docs/http.md)": "static_folder static_files static_url_path "
        "template_folder",
        "`ping_interval`, `idle_timeout`, `request_timeout` and `send_timeout` are some": "timeouts",
        "the limits are options by themselves (docs/reference/options.md#limits)": "limits",
        "app.state is a namespace for what handlers share": "state context config settings",
    }
)
"""Of options: the name of one of ours, or a sentence."""


def of_peers(words: Mapping[str, str]) -> Any:
    """Make the objects of a class say what does what their peers do by `words`: name → cure.

    Nothing is added that `dir`, a protocol or the spec of a mock would take for a method: Python asks `__getattr__` for
    what is not there.
    """

    def __getattr__(self: object, name: str) -> Any:
        if hasattr(type(self), name):
            return object.__getattribute__(self, name)  # a property that fails says why
        said = f"{type(self).__name__!r} object has no attribute {name!r}"
        if name in words:
            raise AttributeError(f"{said}: {words[name]}", name=name)  # without `obj`, of which Python makes guesses
        raise AttributeError(said, name=name, obj=self)

    def teach(cls: C) -> C:
        cls.__getattr__ = __getattr__  # type: ignore[attr-defined]
        return cls

    return teach
