#!/bin/bash
exec python -m omslab.services.nginx
