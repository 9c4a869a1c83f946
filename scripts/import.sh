#!/bin/sh
# Imports SQL scripts and CSV files into the database of the running plugin, all or nothing.
# See `otactl import --help`; OTA_DATABASE names another database.
exec otactl import "$@"
