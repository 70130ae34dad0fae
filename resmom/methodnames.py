"""What methods are called by people, by the `kind` that a configuration has for them. No torch."""

METHOD_NAMES = {
    "MoCoV3": "MoCo-v3",
    "Byol": "BYOL",
    "SimSiam": "SimSiam",
    "SimCLR": "SimCLR",
    "BarlowTwins": "Barlow Twins",
    "VICReg": "VICReg",
    "NNCLR": "NNCLR",
    "Dino": "DINO",
    "Ibot": "iBOT",
    "Dinov2": "DINOv2",
    "MoCoV2": "MoCo-v2",
    "ReSSL": "ReSSL",
    "DenseCL": "DenseCL",
    "MSF": "MSF",
    "NNCLREma": "NNCLR with a teacher",
}


def method_name(method: object) -> str:
    """The name of a method, by its configuration."""
    return METHOD_NAMES[type(method).__name__]
