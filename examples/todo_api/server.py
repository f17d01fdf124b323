"""Things to do in a database: typed handlers, a session of SQLAlchemy for each request, events for the other clients.

The database is a file of SQLite, a temporary one unless `-database` names yours.
"""

import asyncio
from contextlib import asynccontextmanager
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import aiosqlite
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import asdict
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from aiorest_ws import Application, Depends, HTTPError, SimpleRouter
from aiorest_ws.command_line import CommandLine

router = SimpleRouter()


class Base(DeclarativeBase):
    pass


class Todo(Base):
    __tablename__ = "todos"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    due: Mapped[date | None]
    done: Mapped[bool] = mapped_column(default=False)


Title = Annotated[str, Meta(min_length=1, max_length=80)]
Number = Annotated[int, Meta(ge=1, le=2**63 - 1)]  # SQLite has no larger ones


class NewTodo(Struct, forbid_unknown_fields=True):
    title: Title
    due: date | None = None


class Changes(Struct, forbid_unknown_fields=True):  # what is not sent stays as it is, while `null` is a value
    title: Title | UnsetType = UNSET
    due: date | UnsetType | None = UNSET
    done: bool | UnsetType = UNSET


class PublicTodo(Struct):
    id: int
    title: str
    due: date | None
    done: bool


async def get_session(request):
    async with request.app.state.new_session() as session, session.begin():
        yield session  # behind it: a commit, or a rollback if the handler failed
    tell_others(request.connection, session.info.get("events", ()))


def tell_others(connection, events):
    for other in connection.factory.connections - {connection}:
        for name, data in events:
            other.send_event(name, data)


def today():
    return date.today()


Session = Annotated[AsyncSession, Depends(get_session)]
Today = Annotated[date, Depends(today)]


def note(session, name, todo):
    """Keep an event until its change is committed."""
    session.info.setdefault("events", []).append((name, {"id": todo.id, "title": todo.title}))


async def find(session, number):
    todo = await session.get(Todo, number)
    if todo is None:
        raise HTTPError(404, f"no todo {number}")
    return todo


@router.get("/todos", response_model=list[PublicTodo])
async def show_all(
    request,
    session: Session,
    day: Today,
    overdue: bool = False,
    limit: Annotated[int, Meta(ge=1, le=100)] = 20,
    offset: Annotated[int, Meta(ge=0, le=1_000_000)] = 0,
):
    query = select(Todo).order_by(Todo.id).limit(limit).offset(offset)
    if overdue:
        query = query.where(Todo.due < day, ~Todo.done)
    return list(await session.scalars(query))


@router.post("/todos", response_model=PublicTodo, status=201)
async def add(request, session: Session, data: NewTodo):
    todo = Todo(title=data.title, due=data.due)
    session.add(todo)
    await session.flush()  # gives it its id
    note(session, "added", todo)
    return todo


@router.get("/todos/{number:int}", response_model=PublicTodo)
async def show(request, number: Number, session: Session):
    return await find(session, number)


@router.patch("/todos/{number:int}", response_model=PublicTodo)
async def change(request, number: Number, session: Session, data: Changes):
    todo = await find(session, number)
    for name, value in asdict(data).items():
        if value is not UNSET:
            setattr(todo, name, value)
    note(session, "changed", todo)
    return todo


@router.delete("/todos/{number:int}")
async def remove(request, number: Number, session: Session):
    todo = await find(session, number)
    await session.delete(todo)
    note(session, "removed", todo)


async def connect(database):
    opening = asyncio.ensure_future(aiosqlite.connect(database))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:  # the client has left, and aiosqlite forgets to close what it was about to open
        await (await opening).close()
        raise


def make_app(database):
    @asynccontextmanager
    async def lifespan(app):
        engine = create_async_engine(f"sqlite+aiosqlite:///{database}", async_creator=partial(connect, database))
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        app.state.new_session = async_sessionmaker(engine)
        yield
        await engine.dispose()

    return Application(router=router, lifespan=lifespan)


if __name__ == "__main__":
    cmd = CommandLine()
    cmd.define("-ip", default="127.0.0.1", help="address to listen on", type=str)
    cmd.define("-port", default=8080, help="port to listen on", type=int)
    cmd.define("-database", help="file of the database, made if it is not there", type=str)
    options = cmd.parse_command_line()

    with TemporaryDirectory() as directory:
        app = make_app(options.database or Path(directory, "todos.sqlite3"))
        app.run(host=options.ip, port=options.port)
