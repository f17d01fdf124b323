"""Where 1.1.1 had its helpers; `websocket` is left, as programs import it. `aiorest_ws.gone` knows of the others."""
