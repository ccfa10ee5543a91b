"""The endpoints create, detail, abilities and credits."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from separator import create_request
from separator.engines import known_stems
from separator.envelope import Refusal, json_body, key_check, success
from separator.reports import record, report_abilities
from separator.settings import SeparatorSettings
from separator.task_runner import TaskRunner
from separator.task_table import TaskTable


def contract_routes(settings: SeparatorSettings) -> APIRouter:
    """Return the routes, which need `table` and `runner` in the lifespan's state."""
    router = APIRouter(dependencies=[key_check(settings.api_key)])
    stems = known_stems(settings.engine)

    @router.post("/api/v1/vocal-removal/generate")
    async def create(request: Request) -> JSONResponse:
        wanted = create_request.read(await json_body(request), stems)
        table: TaskTable = request.state.table
        runner: TaskRunner = request.state.runner
        price = settings.prices.get(wanted.mode, 0)
        task = table.create(wanted, price, settings.credits, settings.max_open_tasks)
        runner.start(task)
        return success({"taskId": task.id})

    @router.get("/api/v1/vocal-removal/record-info")
    async def detail(request: Request) -> JSONResponse:
        task_id = request.query_params.get("taskId", "")
        if not task_id:
            raise Refusal(422, "taskId is missing")
        table: TaskTable = request.state.table
        task = table.find(task_id)
        if task is None:
            raise Refusal(404, "there is no such task")
        return success(record(task))

    @router.get("/api/v1/vocal-removal/abilities")
    async def abilities(request: Request) -> JSONResponse:
        found = report_abilities(
            settings.engine, stems, settings.prices, settings.better_engine, settings.file_format
        )
        return success(found)

    @router.get("/api/v1/generate/credit")
    async def credit(request: Request) -> JSONResponse:
        table: TaskTable = request.state.table
        return success(table.credits_left(settings.credits))

    return router
