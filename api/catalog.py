"""What there is to ask for: methods, model families, example models; and what a report consists of."""

import json
from functools import cache
from typing import Final, Literal

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, Field

from api import openapi
from api.auth import READS
from core.examples import EXAMPLES
from core.models.families import FAMILIES
from core.recipes import METHODS, Method
from core.report.json_schema import json_schema

router = APIRouter(
    prefix="/v1",
    tags=["catalog"],
    dependencies=[READS],
)

SUMMARIES: Final[dict[Method, str]] = {
    "magnitude": "Removes the smallest weights of each matrix. Needs no text.",
    "wanda": "Removes, row by row, the weights with the smallest |weight| × norm of their input "
    "(Sun et al. 2023), block after block.",
    "sink-wanda": "Wanda on noised text, where inputs count less the more a position is an "
    "attention sink at that timestep (arXiv 2602.17664).",
    "sparsegpt": "Removes weights by their second-order cost and corrects the rest "
    "(Frantar & Alistarh 2023).",
    "sink-sparsegpt": "SparseGPT with attention sinks discounted in its Hessian "
    "(arXiv 2602.17664).",
}


class RecipeRow(BaseModel):
    """The method's row of the recipe table; null where it looks at no inputs."""

    score: str
    inputs: str | None
    order: str | None
    sinks: str | None


class MethodEntry(BaseModel):
    name: str
    summary: str
    recipe: RecipeRow


class MethodList(BaseModel):
    data: list[MethodEntry]


class ExampleEntry(BaseModel):
    name: str
    source: str = Field(description="to be used as `model.source`")
    description: str


class ExampleList(BaseModel):
    data: list[ExampleEntry]


class FamilyEntry(BaseModel):
    name: str
    model_type: str = Field(description="`model_type` in the checkpoint's config.json")
    model_types: list[str] = Field(description="every `model_type` that is accepted")
    architectures: list[str]
    bidirectional: bool = Field(description="true for diffusion models, false for causal ones")
    attention: Literal["bidirectional", "causal", "block-causal"]
    objective: Literal["nelbo", "likelihood"] = Field(
        description="what its loss is: a bound for diffusion models, exact for causal ones"
    )


class FamilyList(BaseModel):
    data: list[FamilyEntry]


@router.get(
    "/methods",
    summary="List pruning methods",
    responses=openapi.example(
        200,
        {
            "data": [
                {
                    "name": "wanda",
                    "summary": SUMMARIES["wanda"],
                    "recipe": {
                        "score": "wanda",
                        "inputs": "clean",
                        "order": "sequential",
                        "sinks": "keep",
                    },
                }
            ]
        },
    ),
)
async def list_methods() -> MethodList:
    """What `method` of a job spec can be, with what each does where the recipe says nothing else."""
    return MethodList(
        data=[
            MethodEntry(
                name=name,
                summary=SUMMARIES[name],
                recipe=RecipeRow(
                    score=row.score, inputs=row.inputs, order=row.order, sinks=row.sinks
                ),
            )
            for name, row in METHODS.items()
        ]
    )


@router.get(
    "/examples",
    summary="List the example models that are shipped",
    responses=openapi.example(
        200,
        {
            "data": [
                {"name": e.name, "source": e.source, "description": e.description} for e in EXAMPLES
            ]
        },
    ),
)
async def list_examples() -> ExampleList:
    """Small models to try everything with; each `source` is ready to be posted."""
    return ExampleList(
        data=[
            ExampleEntry(name=e.name, source=e.source, description=e.description) for e in EXAMPLES
        ]
    )


@router.get(
    "/families",
    summary="List the model families that can be pruned",
    responses=openapi.example(
        200,
        {
            "data": [
                {
                    "name": "llada",
                    "model_type": "llada",
                    "model_types": ["llada", "mmada"],
                    "architectures": ["LLaDAModelLM", "MMadaModelLM"],
                    "bidirectional": True,
                    "attention": "bidirectional",
                    "objective": "nelbo",
                }
            ]
        },
    ),
)
async def list_families() -> FamilyList:
    """A checkpoint belongs to one by `architectures` and `model_type` in its config.json."""
    return FamilyList(
        data=[
            FamilyEntry(
                name=f.name,
                model_type=f.model_type,
                model_types=list(f.model_types),
                architectures=list(f.architectures),
                bidirectional=f.bidirectional,
                attention=f.attention,
                objective=f.objective,
            )
            for f in FAMILIES
        ]
    )


@router.get(
    "/schemas/report",
    summary="Read the JSON Schema of reports",
    response_description="A JSON Schema, draft 2020-12.",
    response_class=Response,
    responses={
        200: {
            "content": {
                "application/schema+json": {
                    "schema": {"type": "object"},
                    "example": {"title": "Secateur report", "type": "object"},
                }
            }
        }
    },
)
async def report_schema() -> Response:
    """What `report/report.json` of every result keeps to: new parts may be added to it, and none is
    removed or changes its meaning while `schema_version` stays."""
    return Response(_report_schema(), media_type="application/schema+json")


@cache
def _report_schema() -> bytes:
    return json.dumps(json_schema(), ensure_ascii=False).encode()
