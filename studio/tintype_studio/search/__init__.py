"""Tags and search over what images show.

    class_counts     which classes each image's annotations name, kept with every save
    looks            what is found in one image: tags, fingerprint, vector; and its rows
    indexer          looks at every image, after its upload
    scope            which images
    tag_search       images by objects, scenes and attributes
    scene_help       what an answer about scenes says when there are none
    vector_store     nearest vectors: exact, or by an index where there are very many
    vector_files     the memory-mapped copy of the vectors, which can be deleted
    duplicates       groups of near-duplicates
    service          what the tools call

Nothing is re-exported here: importing this package loads neither numpy nor OpenCV.
"""
