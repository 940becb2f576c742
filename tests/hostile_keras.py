"""Model files that try to do harm, one for each known way.

Each would call something that leaves the file `CANARY` behind, read the file
`SECRET`, write outside its folder, or take memory without end. What is public
about the CVEs is in the advisories of keras-team/keras and in Keras's history;
the payloads here are our own.

`CASES` has the writers by name: they take the path, and the folder of the two
files.
"""

import hostile_configs  # noqa: F401  registers its cases, as do the next
import hostile_cves  # noqa: F401
import hostile_hdf5  # noqa: F401
import hostile_zip  # noqa: F401
from hostile_files import CANARY as CANARY
from hostile_files import CASES as CASES
from hostile_files import SECRET as SECRET
