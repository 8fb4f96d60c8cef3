"""Pictures as files: what they are, their pixels, their thumbnails and their annotated previews.

    formats             which files we accept, and what some bytes claim to be
    structure           is the file whole? (JPEG, PNG, WebP, BMP, GIF, HEIF; no pixel is decoded)
    tiff_structure      the same for TIFF
    inspect             format, size, orientation and integrity of an uploaded file
    budget              large pictures take turns in memory
    decode              upright RGB pixels of any accepted file; HEIC to PNG
    thumbnails          small JPEGs
    palette             a stable colour per class
    lettering           a line of text in any script
    labels              what label tags say and where they go
    clipping            paths cut off around the picture
    fills               translucent areas
    draw                annotations on a picture

Nothing is re-exported here: importing this package loads neither Pillow nor numpy.
"""
