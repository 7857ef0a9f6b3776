"""The plan's PostgreSQL app as a deployment order, and the addresses that apps are given."""

from __future__ import annotations

from urllib.parse import quote

from loadtest.fly.orders import AppOrder
from loadtest.plan.apps import Deployment
from loadtest.plan.database_url import DEFAULT_FORM, fill_url
from loadtest.plan.model import Plan
from loadtest.run.app_files import our_image, platform_keys, read_file
from loadtest.run.run_secrets import Secrets

DATABASE_USER = "postgres"
DATABASE_PORT = 5432
SECURE_PORT = 6432
REPLICA_PORT = 5433


def database_order(plan: Plan, run_id: str, keys: Secrets, image: str) -> AppOrder | None:
    """
    Return the order of the plan's PostgreSQL app, or None where nothing would use it.

    Args:
        plan: Resolved plan.
        run_id: Label of everything that is made.
        keys: The run's secrets.
        image: Image reference for our own apps; empty takes what the fly.toml names.
    """
    if not plan.database.fly_toml or not any(d.fly_toml for d in plan.deployments):
        return None
    config = read_file(plan.database.fly_toml, "database.fly_toml")
    everywhere = plan.database.regions == "all"
    return AppOrder(
        config=config,
        regions=plan.regions if everywhere else (plan.primary_region,),
        primary_region=plan.primary_region,
        run_id=run_id,
        image=our_image(plan, config, image),
        secrets={
            "OPERATOR_PASSWORD": keys.database,
            "SU_PASSWORD": keys.database,
            "REPL_PASSWORD": keys.replication,
        },
        env={
            "DATABASE_NAME": plan.database.database,
            **({"MORE_DATABASES": ",".join(own)} if (own := _own_databases(plan)) else {}),
        },
        deadline_s=plan.patience_s,
        **platform_keys(plan),
    )


def database_urls(
    plan: Plan, database: AppOrder | None, keys: Secrets, deployment: Deployment | None = None
) -> dict[str, str]:
    """
    Return the addresses of primary and nearest replica; apps that want neither ignore them.

    Args:
        plan: Resolved plan; its ``database.url`` is their form.
        database: The PostgreSQL app; without one there are no addresses.
        keys: The run's secrets.
        deployment: Whose, as it may have a database of its own, and open connections over TLS;
            None for what belongs to none.
    """
    if database is None:
        return {}
    shared = {
        "user": DATABASE_USER,
        "password": quote(keys.database, safe=""),
        "name": (deployment and deployment.database) or plan.database.database,
    }
    primary = {"host": f"{database.name}.internal", "port": str(DATABASE_PORT)}
    if plan.world == "fly":
        # 5432 is answered by any machine of the app, which passes it on to the primary: a query of
        # Paris may travel by Sydney.  One region's own server is what is meant.
        primary = {
            "host": f"{plan.primary_region}.{database.name}.internal",
            "port": str(REPLICA_PORT),
        }
    nearest = {"host": f"top1.nearest.of.{database.name}.internal", "port": str(REPLICA_PORT)}
    urls = {
        "DATABASE_URL": fill_url(plan.database.url, {**shared, **primary}),
        "REPLICA_DATABASE_URL": fill_url(plan.database.url, {**shared, **nearest}),
    }
    if deployment and deployment.new_connection_share and plan.world != "fly":
        secure = {**shared, **primary, "port": str(SECURE_PORT)}
        urls["NEW_CONNECTION_URL"] = fill_url(f"{DEFAULT_FORM}?sslmode=require", secure)
    return urls


def _own_databases(plan: Plan) -> tuple[str, ...]:
    """Return the names of databases that single deployments have to themselves."""
    asked = dict.fromkeys(d.database for d in plan.deployments if d.fly_toml)
    return tuple(name for name in asked if name not in ("", plan.database.database))
