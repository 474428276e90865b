"""Modules that ``mailganer serve`` imports for the parts that it forks, which share their memory."""

WEB_MODULES = (
    *("jinja2.ext", "logging.config", "paste.deploy.loadwsgi", "plaster_pastedeploy", "pyramid.config"),
    *("pyramid_jinja2", "pyramid_openapi3.tween", "pyramid_retry", "pyramid_tm", "zope.sqlalchemy"),
    *("celery.fixups.django", "celery.worker", "encodings.idna"),
    *("mailganer.cli.parts", "mailganer.cli.server", "mailganer.sending.process_reports"),
    *("mailganer.backends.*", "mailganer.web.*", "mailganer.views.*", "mailganer.api.*"),
)
"""Imported before the web part starts. ``.*`` means a package and all its modules, as Pyramid scans it."""

SENDING_MODULES = (
    *("mailganer.worker_events", "mailganer.sending.tasks", "mailganer.audience.tasks"),
    *("mailganer.accounts.expired_rows", "mailganer.sending.broker_consumer", "mailganer.mail_catcher"),
    *("celery.app.amqp", "celery.app.control", "celery.app.events", "celery.app.log", "celery.backends.base"),
    *("celery.apps.beat", "celery.apps.worker", "celery.bin.celery", "celery.concurrency.prefork"),
    *("celery.worker.autoscale", "celery.worker.components", "celery.worker.consumer.delayed_delivery"),
    *("celery.worker.strategy", "billiard.popen_fork", "billiard.sharedctypes", "cffi.cparser"),
    "kombu.transport.redis",
)
"""Imported while the web part starts, for worker, beat and mail catcher."""
