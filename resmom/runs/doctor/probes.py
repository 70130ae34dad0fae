"""All probes by name; as a program, the process that answers them."""

from resmom.runs.doctor.apart import Probes, serve
from resmom.runs.doctor.devices import device, devices
from resmom.runs.doctor.fast import compiled, jpeg
from resmom.runs.doctor.folder import folder
from resmom.runs.doctor.images import images
from resmom.runs.doctor.images_of import images_of
from resmom.runs.doctor.place import place
from resmom.runs.doctor.resources import cores, memory, threads
from resmom.runs.doctor.versions import imported, installed

PROBES: Probes = {
    "installed": installed,
    "imported": imported,
    "jpeg": jpeg,
    "compiled": compiled,
    "cores": cores,
    "memory": memory,
    "threads": threads,
    "devices": devices,
    "device": device,
    "place": place,
    "images": images,
    "folder": folder,
    "images_of": images_of,
}

if __name__ == "__main__":
    serve(PROBES)
