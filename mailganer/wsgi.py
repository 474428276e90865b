"""WSGI entry point for any server: ``waitress-serve --call mailganer.wsgi:create_app``."""

import atexit
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .web.pixel import PixelFirst


def create_app() -> "PixelFirst":
    """Return the WSGI application of the settings file named in ``MAILGANER_INI``.

    Without the variable the file is ``development.ini`` in the current folder, or beside the program. Wrong
    settings end the process with one sentence each.
    """
    from .cli.common import collector_paused, find_ini
    from .errors import SettingsError

    try:
        with collector_paused():
            from .broker_monitor import monitor_broker
            from .logs import survive_full_disk
            from .sending.process_reports import ProcessReport
            from .settings.ini_file import open_ini

            ini = str(find_ini(None))
            survive_full_disk()
            ini_file = open_ini(ini)
            ini_file.setup_logging()
            os.environ["MAILGANER_INI"] = ini
            application: PixelFirst = ini_file.get_wsgi_app("main")
            report = ProcessReport("web", application.registry["settings"])
    except SettingsError as error:
        sys.exit("\n".join(error.problems))
    report.start()
    monitor_broker("web", application.registry["settings"])
    atexit.register(report.end)
    return application
