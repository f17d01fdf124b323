/** The script of the page, which is that of the page's worker, too. */
import { serve } from "./wire.js";

if (typeof document === "undefined") serve();
else void import("./main.js");
