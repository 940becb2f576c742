"""The closed list: what a model file may name, module by module.

It is written out, so that a class that a later Keras adds is not on it by
itself. Not on it are what runs code or opens files that the model file names:
`Lambda`, `TFSMLayer`, `TorchModuleWrapper`, `JaxLayer`, `FlaxLayer`, the
operations that take functions (`Map`, `Scan`, `Cond`, ...), and whatever is
neither a layer nor belongs to one.
"""

_LAYERS = """
Activation ActivityRegularization AdaptiveAveragePooling1D
AdaptiveAveragePooling2D AdaptiveAveragePooling3D AdaptiveMaxPooling1D
AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add AdditiveAttention AlphaDropout
Attention AugMix AutoContrast Average AveragePooling1D AveragePooling2D
AveragePooling3D BatchNormalization Bidirectional CategoryEncoding CenterCrop
Concatenate Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D
Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D
Cropping3D CutMix Dense DepthwiseConv1D DepthwiseConv2D Discretization Dot
Dropout ELU EinsumDense Embedding Equalization Flatten GRU GRUCell
GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D
GlobalMaxPooling3D GroupNormalization GroupQueryAttention HashedCrossing
Hashing Identity InputLayer IntegerLookup LSTM LSTMCell LayerNormalization
LeakyReLU Masking MaxNumBoundingBoxes MaxPooling1D MaxPooling2D MaxPooling3D
Maximum MelSpectrogram Minimum MixUp MultiHeadAttention Multiply Normalization
PReLU Permute Pipeline RMSNormalization RNN RandAugment RandomBrightness
RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop
RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur
RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization
RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation
RandomZoom ReLU RepeatVector Rescaling Reshape Resizing ReversibleEmbedding
STFTSpectrogram SeparableConv1D SeparableConv2D SimpleRNN SimpleRNNCell
Softmax Solarization SpatialDropout1D SpatialDropout2D SpatialDropout3D
SpectralNormalization StackedRNNCells StringLookup Subtract TextVectorization
TimeDistributed UnitNormalization UpSampling1D UpSampling2D UpSampling3D
ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""

_NUMPY = """
Abs Absolute Add All AllClose Amax Amin Angle Any Append Arccos Arccosh Arcsin
Arcsinh Arctan Arctan2 Arctanh Argmax Argmin Argpartition Argsort ArraySplit
Average Bincount BitwiseAnd BitwiseInvert BitwiseLeftShift BitwiseNot BitwiseOr
BitwiseRightShift BitwiseXor BroadcastTo Cbrt Ceil Clip Concatenate Conj
Conjugate Copy Corrcoef Correlate Cos Cosh CountNonzero Cross Cumprod Cumsum
Deg2rad Diag Diagflat Diagonal Diff Digitize Divide DivideNoNan Dot Dsplit
Dstack Einsum EmptyLike Equal Exp Exp2 ExpandDims Expm1 Fabs Flip Fliplr Flipud
Floor FloorDivide Fmax Fmin Fmod FullLike Gcd GetItem Greater GreaterEqual
Heaviside Histogram Hsplit Hstack Hypot I0 Imag Inner IsIn Isclose Isfinite
Isinf Isnan Isneginf Isposinf Isreal Kron Lcm Ldexp LeftShift Less LessEqual
Log Log10 Log1p Log2 Logaddexp Logaddexp2 LogicalAnd LogicalNot LogicalOr
LogicalXor Matmul Max Maximum Mean Median Meshgrid Min Minimum Mod Moveaxis
Multiply NanToNum Nanargmax Nanargmin Nancumprod Nancumsum Nanmax Nanmean
Nanmedian Nanmin Nanpercentile Nanprod Nanquantile Nanstd Nansum Nanvar Ndim
Negative Nextafter Nonzero NotEqual OnesLike Outer Pad Percentile Power Prod
Ptp Quantile Rad2deg Ravel Real Reciprocal Repeat Reshape RightShift Roll Rot90
Round SearchSorted Select Sign Signbit Sin Sinc Sinh Size Slogdet Sort Split
Sqrt Square Squeeze Stack Std Subtract Sum Swapaxes Take TakeAlongAxis Tan Tanh
Tensordot Tile Trace Transpose Trapezoid Tril Triu TrueDivide Trunc Unique
UnravelIndex Vander Var Vdot Vsplit Vstack Where ZerosLike
"""

_NN = """
AdaptiveAveragePool AdaptiveMaxPool AveragePool BatchNorm BinaryCrossentropy
CTCDecode CTCLoss CategoricalCrossentropy Celu Conv ConvTranspose DepthToSpace
DepthwiseConv DotProductAttention Elu Fold Gelu Glu HardShrink HardSigmoid
HardSilu HardTanh LayerNorm LeakyRelu LogSigmoid LogSoftmax MaxPool Moments
MultiHot Normalize OneHot PSNR Polar RMSNorm Relu Relu6 Selu SeparableConv
Sigmoid Silu SoftShrink Softmax Softplus Softsign SpaceToDepth
SparseCategoricalCrossentropy SparsePlus SparseSigmoid Sparsemax Squareplus
TanhShrink Threshold Unfold
"""

# By Keras's public names, and what has none by the module it is in.
_KERAS = {
    "keras": "DTypePolicy Model Sequential",
    "keras.constraints": "MaxNorm MinMaxNorm NonNeg UnitNorm",
    "keras.dtype_policies": "DTypePolicy DTypePolicyMap FloatDTypePolicy "
    "Int4DTypePolicy QuantizedDTypePolicy QuantizedFloat8DTypePolicy",
    "keras.initializers": "Constant GlorotNormal GlorotUniform HeNormal "
    "HeUniform Identity IdentityInitializer LecunNormal LecunUniform Ones "
    "Orthogonal OrthogonalInitializer RandomNormal RandomUniform STFT "
    "STFTInitializer TruncatedNormal VarianceScaling Zeros",
    "keras.layers": _LAYERS,
    "keras.models": "Model Sequential",
    "keras.quantizers": "AbsMaxQuantizer Float8QuantizationConfig "
    "Int4QuantizationConfig Int8QuantizationConfig",
    "keras.random": "SeedGenerator",
    "keras.regularizers": "L1 L1L2 L2 OrthogonalRegularizer",
    "keras.src.applications.convnext": "LayerScale StochasticDepth",
    "keras.src.applications.inception_resnet_v2": "CustomScaleLayer",
    "keras.src.models.functional": "Functional",
    "keras.src.ops.core": "Cast SaturateCast Scatter "
    "ScatterUpdate Slice SliceUpdate StopGradient Unstack",
    "keras.src.ops.einops": "Rearrange",
    "keras.src.ops.image": "AffineTransform CropImages ElasticTransform "
    "ExtractPatches GaussianBlur HSVToRGB MapCoordinates PadImages "
    "PerspectiveTransform RGBToGrayscale RGBToHSV Resize SSIM "
    "ScaleAndTranslate SobelEdges",
    "keras.src.ops.linalg": "Cholesky CholeskyInverse Det Eig Eigh Inv Lstsq "
    "LuFactor MatrixRank Norm Pinv Qr SVD Solve SolveTriangular",
    "keras.src.ops.math": "CDist Erf Erfc Erfinv ExtractSequences FFT FFT2 "
    "IFFT2 IRFFT ISTFT InTopK Logdet Logsumexp RFFT Rsqrt STFT SegmentMax "
    "SegmentMin SegmentProd SegmentSum TopK ViewAsComplex ViewAsReal",
    "keras.src.ops.nn": _NN,
    "keras.src.ops.numpy": _NUMPY,
}
KERAS = {module: frozenset(names.split()) for module, names in _KERAS.items()}

# Where a class is that an older file names without a module, the first
# that has it; under a key that ends in "initializer" only the latter.
LEGACY_ORDER = (
    "keras.layers",
    "keras.src.models.functional",
    "keras.models",
    "keras.initializers",
    "keras.regularizers",
    "keras.constraints",
    "keras.dtype_policies",
    "keras.src.ops.numpy",
    "keras.src.ops.nn",
    "keras.src.ops.core",
)

# Functions, by name, all of them activations.
FUNCTION_MODULES = ("builtins", "keras.activations", "keras.ops")
_ACTIVATIONS = """
celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish
hard_tanh leaky_relu linear log_sigmoid log_softmax mish relu relu6 selu
sigmoid silu soft_shrink softmax softplus softsign sparse_plus sparse_sigmoid
sparsemax squareplus swish tanh tanh_shrink threshold
"""
FUNCTIONS = frozenset(_ACTIVATIONS.split())

# Values and not objects, with the keys of what they hold.
VALUES = {
    "__bytes__": {"value"},
    "__ellipsis__": set(),
    "__keras_tensor__": {"shape", "dtype", "keras_history"},
    "__numpy__": {"value", "dtype"},
    "__slice__": {"start", "stop", "step"},
    "__tensor__": {"value", "dtype"},
}
_DTYPES = """
bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 bfloat16 float16 float32
float64
"""
VALUE_DTYPES = frozenset(_DTYPES.split())

# This library's classes by the names they are registered under, with the
# modules that register them.
OWN = {
    "eca_keras>AverageMaxGate": "eca_keras.layers",
    "eca_keras>CBAM": "eca_keras.layers",
    "eca_keras>ECA": "eca_keras.layers",
    "eca_keras>ECANS": "eca_keras.layers",
    "eca_keras>ECASpatial": "eca_keras.layers",
    "eca_keras>GlobalContext": "eca_keras.layers",
    "eca_keras>PadChannels": "eca_keras.layers",
    "eca_keras>SEGroupConv": "eca_keras.layers",
    "eca_keras>SEVar1": "eca_keras.layers",
    "eca_keras>SEVar2": "eca_keras.layers",
    "eca_keras>SEVar3": "eca_keras.layers",
    "eca_keras>SpatialGate": "eca_keras.layers",
    "eca_keras>SqueezeExcite": "eca_keras.layers",
    "eca_keras>ECABackbone": "eca_keras.interop.keras_hub",
    "eca_keras>FasterRCNN": "eca_keras.applications.detection.faster_rcnn",
    "eca_keras>FixedBatchNormalization": (
        "eca_keras.applications.detection.fixed_norm"
    ),
    "eca_keras>MaskRCNN": "eca_keras.applications.detection.mask_rcnn",
    "eca_keras>RetinaNet": "eca_keras.applications.detection.retinanet",
}
