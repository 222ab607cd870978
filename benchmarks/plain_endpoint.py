"""Plain endpoint to compare serving with: FastAPI, redis-py and ONNX Runtime without further work.

It has the same graph, Redis layout, session options and results, but no batching, fallback or labels.
"""

import os
import sys
from pathlib import Path
from typing import cast

import redis.asyncio as redis_asyncio
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from retort.shared.model.bundle import open_bundle


class Request(BaseModel):
    user_id: str
    k: int = 10


class Item(BaseModel):
    item_id: str
    score: float
    rank: int


class Answer(BaseModel):
    items: list[Item]


def create(bundle_path: Path, redis_url: str) -> FastAPI:
    """Create the application."""
    bundle = open_bundle(bundle_path)
    scorer = bundle.scorer()
    index = bundle.item_index
    client = redis_asyncio.Redis.from_url(redis_url, max_connections=1024)
    app = FastAPI()

    @app.post("/recommend")
    async def recommend(request: Request) -> Answer:
        members = cast(list[bytes], await client.zrange(f"retort:h:{{default:{request.user_id}}}", -1000, -1))
        history = index.indexes(member.rpartition(b"\x1f")[0].decode() for member in members)
        items, scores = scorer.top_k([history], request.k).row(0)
        ranked = zip(items.tolist(), scores.tolist(), strict=True)
        return Answer(
            items=[Item(item_id=index.id(i), score=score, rank=rank) for rank, (i, score) in enumerate(ranked, 1)]
        )

    return app


if __name__ == "__main__":
    uvicorn.run(
        create(Path(sys.argv[1]), os.environ["REDIS_URL"]),
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
