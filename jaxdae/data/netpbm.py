"""PBM, PGM and PPM files, plain or binary, of any largest value up to 65535."""

from pathlib import Path

import netpbmfile
import numpy as np

from jaxdae.data.picture import Picture
from jaxdae.data.picture_files import require_pixels


def is_netpbm(start: bytes) -> bool:
    """Whether a file with this start is one."""
    return start[:1] == b"P" and start[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6") and start[2:3] in b" \t\r\n#"


def read(path: Path, max_pixels: int) -> Picture:
    """Reads a file of one or more pictures; InputError if it has too many pixels, ValueError if it is damaged."""
    with netpbmfile.NetpbmFile(path) as file:
        require_pixels(path, file.width * file.height, max_pixels)
        if not file.width * file.height:
            raise ValueError("it holds no pixel")
        if not 0 < file.maxval < 2**16:
            raise ValueError(f"its largest value is {file.maxval}, not 1 to 65535")
        values = file.asarray()
        magic, most = file.magicnumber, file.maxval
        comments = ("its comments cannot be kept",) if "#" in file.header else ()
        pages = values.reshape(-1, file.height, file.width, file.depth)
    require_pixels(path, pages.size // pages.shape[-1], max_pixels)
    pages = pages.astype(pages.dtype.newbyteorder("="), copy=False)
    black = float(pages.dtype == bool)  # in PBM, 1 is black
    limit = None if black or most in (255, 65535) else most
    kept = {"magicnumber": magic, "maxval": most}
    return Picture(tuple(pages), (None,) * len(pages), "netpbm", kept, black, 1 - black, limit, notes=comments)


def write(path: Path, picture: Picture, pages: list[np.ndarray]) -> None:
    """Writes pages as a file of the same kind and largest value."""
    values = np.stack(pages)
    values = values[..., 0] if values.shape[-1] == 1 else values
    netpbmfile.imwrite(path, values[0] if len(pages) == 1 else values, **picture.kept)
