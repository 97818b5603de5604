"""A service for many users: every request runs as the user of its token, over connections that all of them share.

    SUPABASE_URL=… SUPABASE_KEY=sb_publishable_…    over PostgREST, which verifies the tokens
    DATABASE_URL=… SUPABASE_JWT_SECRET=…            over PostgreSQL; the tokens are verified here

    uvicorn --factory examples.fastapi_service:create_app --timeout-graceful-shutdown 30

The tables, and the policies that keep the rows of users apart, are in fastapi_service.sql.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import jwt
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from agent_persistence import (
    PersistenceAgent,
    PersistenceError,
    TablePolicy,
    build_rag_context,
    create_persistence_agent,
)
from agent_persistence.ext.prometheus import Prometheus
from agent_persistence.factory import Kind

POLICY = TablePolicy(read={"leads", "inquiries"}, write={"leads", "inquiries"})
router = APIRouter()


def create_app() -> FastAPI:
    app = FastAPI(lifespan=lifespan, exception_handlers={PersistenceError: as_response})
    app.include_router(router)
    return app


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """One agent for the service; at the end, writes under way are finished before its connections close."""
    over_sql = "DATABASE_URL" in os.environ
    jwt_secret = os.environ["SUPABASE_JWT_SECRET"] if over_sql else None
    kind: Kind = "postgres" if over_sql else "supabase"
    async with create_persistence_agent(kind, policy=POLICY, observers=Prometheus()) as agent:
        yield {"agent": agent, "jwt_secret": jwt_secret}


async def current_user(
    request: Request, bearer: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
) -> PersistenceAgent:
    """The agent as the user who asks. No endpoint has any other."""
    agent: PersistenceAgent = request.state.agent
    try:
        if request.state.jwt_secret is None:  # PostgREST verifies the token
            return agent.as_user(access_token=bearer.credentials)
        claims = verified(bearer.credentials, request.state.jwt_secret)
        return agent.as_user(claims=claims, actor=claims["sub"])
    except jwt.InvalidTokenError:
        raise HTTPException(401, "the access token is not valid", {"WWW-Authenticate": "Bearer"}) from None


def verified(token: str, secret: str) -> dict[str, Any]:
    """What the token claims, once its signature, its audience and its time are found to be good."""
    claims: dict[str, Any] = jwt.decode(
        token, secret, ["HS256"], audience="authenticated", options={"require": ["exp", "role", "sub"]}
    )
    return claims


User = Annotated[PersistenceAgent, Depends(current_user)]


@router.get("/tables/{table}")
async def find(user: User, table: str, limit: int = 100) -> list[dict[str, Any]]:
    return await user.query(table, limit=limit, order_by="id")


@router.post("/tables/{table}", status_code=201)
async def add(user: User, table: str, record: dict[str, Any]) -> dict[str, Any]:
    return await user.write(table, record)


@router.get("/answer")
async def answer(user: User, question: str, background: BackgroundTasks) -> StreamingResponse:
    context = await build_rag_context(user.readonly(), query=question, max_tokens=4000)
    background.add_task(user.write, "inquiries", {"body": question})  # after the response, and still as the user
    return StreamingResponse(model(context.to_prompt()), media_type="text/plain")


async def model(prompt: str) -> AsyncIterator[str]:
    """In the place of a language model: it repeats its prompt, line by line."""
    for line in prompt.splitlines(keepends=True):
        yield line


@router.get("/metrics")
async def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


async def as_response(request: Request, error: PersistenceError) -> JSONResponse:
    """What the persistence layer refused or failed at, in words that hold no secret, under the status that fits."""
    return JSONResponse({"error": error.for_model()}, error.http_status)
